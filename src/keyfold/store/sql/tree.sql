SELECT size, root FROM keyfold.tree
