"""Tasks and mixtures in SeqIO's registries."""
