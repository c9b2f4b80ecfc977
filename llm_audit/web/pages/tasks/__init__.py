"""Pages of Celery's tasks and canvases."""
