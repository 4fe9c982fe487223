SELECT keyfold.forget_addresses()
