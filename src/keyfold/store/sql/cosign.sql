SELECT keyfold.cosign($1, $2, $3)
