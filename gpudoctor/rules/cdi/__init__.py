"""CDI specs and the engines that read them."""
