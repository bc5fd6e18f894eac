"""Other people's models, asked the one question of this house: E[x0 | x_t]."""
