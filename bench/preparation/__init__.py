"""Colours, orientation and size of prepared pictures beside a colour-managed upright decode of each."""
