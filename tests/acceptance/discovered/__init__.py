"""An installed application, as Django has them, whose tasks a worker finds by itself."""
