// What becomes of keys and variables of other programs that have no counterpart here: each is understood, and none is
// ignored in silence where that could surprise.

import Bytes

extension SettingsLoader {
  mutating func checkLegacyKeys() {
    for index in 0..<plainEntries.count where plainEntries[index].key.isForeign { checkLegacyKey(plainEntries[index]) }
  }

  private mutating func checkLegacyKey(_ entry: Entry) {
    switch entry.key {
    case .useClientCertificates:
      if boolean(entry) == true { report(.error, entry, "client certificates are not supported yet; expected 0") }
    case .clientCertificate, .clientKey, .certificatePassword:
      // An old file that says outright whether they are used has been answered already.
      if winner(.useClientCertificates) == nil { report(.error, entry, "client certificates are not supported yet") }
    case .apiKey: report(.error, entry, "API keys belong to applications, which are not supported yet")
    case .webSocket:
      if boolean(entry) == true { report(.error, entry, "WebSocket is not supported yet; expected no") }
    case .transport:
      guard !bytes(entry.value).equalsIgnoringCase(StaticString("tcp").bytes) else { return }
      reportFound(.error, entry, "; expected tcp, as WebSocket is not supported yet")
    case .automaticReconnect:
      if boolean(entry) == false { report(.warning, entry, "has no effect: the agent always reconnects") }
    case .disconnectedBufferSize: report(.warning, entry, "has no effect; see queue-size in [mqtt]")
    case .messagingQoS: report(.warning, entry, "has no effect; see qos in [event NAME]")
    case .gatewayType, .gatewayID: report(.error, entry, "gateways are not supported yet")
    case .sessionExpiry: report(.warning, entry, "has no effect with MQTT 3.1.1")
    case .validateServer:
      if boolean(entry) == false {
        report(.error, entry, "found off; expected allow-unverified-server = yes in [server] instead")
      }
    case .foreign:
      // The variable's name stands in front already.
      diagnostics.begin(.warning, at: entry.place)
      diagnostics.add("has no effect on a device")
      diagnostics.end()
    default: return
    }
  }
}
