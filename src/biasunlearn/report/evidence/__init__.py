"""Evidence files: results in the formats of other tools, and a summary for auditors. Typed results in, text out."""
