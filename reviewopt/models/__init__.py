"""One file a kind of model, behind one Protocol."""
