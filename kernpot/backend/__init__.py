"""What every estimator does in one way: answers, requirements, selection, summary."""
