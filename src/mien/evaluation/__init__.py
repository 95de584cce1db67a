"""How a model does on labeled faces: the numbers, the plots and the page that shows them."""
