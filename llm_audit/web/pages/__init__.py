"""The pages, by subject. Each is a function that takes an `Asked` and returns a `Page`."""
