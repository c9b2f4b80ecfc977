"""MongoDB: the connection, the indexes, the delivery of a batch, and large content in GridFS."""
