SELECT keyfold.age_event_usage()
