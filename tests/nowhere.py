"""Where no MongoDB is, and nobody looks for one for long."""

NOWHERE = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"
