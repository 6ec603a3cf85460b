"""Charts as inline SVG: axis, curves, marks, and the Pareto front."""
