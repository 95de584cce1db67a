"""How a model does on labelled faces: the numbers, the plots and the page that shows them."""
