"""The paper's accuracies and the dataset's own baseline, and what a run has beside them."""
