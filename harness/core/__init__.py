"""The words every other room is written in: parameters, episodes, objectives, methods, seeds."""
