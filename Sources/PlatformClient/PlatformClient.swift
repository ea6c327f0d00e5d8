// The application side of the platform's protocol: MQTT and REST.
