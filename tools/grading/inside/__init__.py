"""What the sandbox holds of the grader: the probe, its wire, and what stands for two files of `helpers`."""
