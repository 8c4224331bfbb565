"""Actions: changes of a whole batch, requested in one short transaction and carried out in portions."""
