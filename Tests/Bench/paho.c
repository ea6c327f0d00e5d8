// paho PORT QOS COUNT [CA-FILE]: a peer for Scripts/bench to compare with, Paho's synchronous C client. Publishes COUNT
// times the same 96 bytes, with at most ten messages unconfirmed, then waits until its standard input ends.
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW = 10 };
static const char payload[] =
    "{\"d\":{\"temperature\":21.75,\"humidity\":48.2,\"pressure\":1013.2500},\"ts\":\"2024-05-01T10:15:30.250Z\"}";

int main(int count, char **words) {
  if (count < 4) return 64;
  const int qos = atoi(words[2]), messages = atoi(words[3]);
  char address[64];
  // By name, as the certificate has it.
  snprintf(address, sizeof address, "%s://localhost:%s", count > 4 ? "ssl" : "tcp", words[1]);

  MQTTClient client;
  MQTTClient_connectOptions options = MQTTClient_connectOptions_initializer;
  MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
  ssl.trustStore = count > 4 ? words[4] : NULL;
  ssl.verify = 1;
  if (count > 4) options.ssl = &ssl;
  // Under valgrind a TLS handshake takes its time.
  options.connectTimeout = 120;
  // The synchronous interface takes one message at a time unless told otherwise.
  options.reliable = 0;
  options.maxInflightMessages = WINDOW;
  // No client identifier: several of us run at a time.
  if (MQTTClient_create(&client, address, "", MQTTCLIENT_PERSISTENCE_NONE, NULL) != MQTTCLIENT_SUCCESS) return 70;
  if (MQTTClient_connect(client, &options) != MQTTCLIENT_SUCCESS) return 69;

  MQTTClient_deliveryToken tokens[WINDOW] = {0};
  for (int number = 0; number < messages; number++) {
    MQTTClient_deliveryToken *token = &tokens[number % WINDOW];
    if (qos > 0 && number >= WINDOW) MQTTClient_waitForCompletion(client, *token, 10000);
    if (MQTTClient_publish(client, "iot-2/out/status/fmt/json", (int)strlen(payload), payload, qos, 0, token) !=
        MQTTCLIENT_SUCCESS)
      return 70;
  }
  for (int index = 0; qos > 0 && index < WINDOW && index < messages; index++)
    MQTTClient_waitForCompletion(client, tokens[index], 10000);

  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  MQTTClient_disconnect(client, 1000);
  MQTTClient_destroy(&client);
  return 0;
}
