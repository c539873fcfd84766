"""The instruments. Each measure runs apart from the others; none knows a method by name."""
