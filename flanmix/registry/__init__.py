"""What a task, a template and a mixture are: plain values, without JAX and without TensorFlow."""
