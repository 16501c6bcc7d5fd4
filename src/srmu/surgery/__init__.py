"""Reading a checkpoint, finding its layers, running some of them."""
