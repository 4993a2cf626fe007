"""What a model on a GPU, bought or rented, would cost, and which GPU to take: sourced figures and no guesses."""
