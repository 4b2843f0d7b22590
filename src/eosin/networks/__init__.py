"""Networks, their weights, and the Run that keeps a trained one."""
