"""A batch on its way into MongoDB: sent, sorted out where refused, isolated where it raises."""
