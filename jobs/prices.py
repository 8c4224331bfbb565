"""What the endpoint charges."""

# The dearest pack of credits; the endpoint's larger packs cost less a credit.
DOLLARS_A_CREDIT = 0.0030
