"""Changes by pages: buttons, what they ask first, and the routes that carry them out by `cutout.actions`."""
