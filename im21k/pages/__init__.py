"""Pictures and HTML pages about photos and runs."""
