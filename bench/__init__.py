"""Side-by-side measurements; bench/README.md has the figures and the commands that made them."""
