"""Pictures of runs, on the screen and on paper."""
