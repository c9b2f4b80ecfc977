"""Any Python value as BSON, encoded once, with notes of what had to be changed."""
