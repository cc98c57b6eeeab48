"""Container images: where they are kept, what they hold, and how they are made ready to run."""
