// Who may connect, and how failures are met: counted by client identifier, and answered later each time.

import Bytes
import IoTPlatform
import MQTT
import PlatformProtocol

/// The outcome of an authentication.
enum Authentication {
  case accepted(Organization)
  case refused(returnCode: UInt8, ClosingCode)
}

extension PlatformService {
  func authenticate(_ identity: ClientIdentity, user: String?, password: String?) -> Authentication {
    guard let organization = organization(identity.organization) else {
      return .refused(returnCode: 5, .notAuthorized)
    }
    if organization.isQuickstart { return authenticateQuickstart(identity, organization, password) }
    guard let user, let password else { return .refused(returnCode: 5, .notAuthorized) }
    switch identity {
    case .device(_, let key), .gateway(_, let key):
      guard isTokenUser(user), let device = organization.devices[key], let hash = device.record.tokenHash else {
        return .refused(returnCode: 5, .notAuthorized)
      }
      var isGateway = false
      if case .gateway = identity { isGateway = true }
      guard (device.record.classID == .gateway) == isGateway else {
        return .refused(returnCode: 5, .notAuthorized)
      }
      return TokenHash.verify(password, hash)
        ? .accepted(organization) : .refused(returnCode: 5, .authenticationFailed)
    case .application, .sharedApplication:
      guard let key = organization.keys[user], !key.hasEnded(now.wall), TokenHash.verify(password, key.tokenHash) else {
        return .refused(returnCode: 5, .authenticationFailed)
      }
      return .accepted(organization)
    }
  }

  private func isTokenUser(_ user: String) -> Bool { user == tokenUserName }

  /// Anyone may come, with nothing: a password is a sign of another intention.
  private func authenticateQuickstart(
    _ identity: ClientIdentity, _ organization: Organization, _ password: String?
  ) -> Authentication {
    if password != nil { return .refused(returnCode: 5, .notAuthorized) }
    switch identity {
    case .device(_, let key):
      return admitToQuickstart(key, organization) ? .accepted(organization) : .refused(returnCode: 3, .capacity)
    case .application: return .accepted(organization)
    case .gateway, .sharedApplication: return .refused(returnCode: 5, .notAuthorized)
    }
  }

  /// Remembers a device of Quickstart. Where there are too many, one that is not connected is forgotten.
  private func admitToQuickstart(_ key: DeviceKey, _ organization: Organization) -> Bool {
    if organization.devices[key] != nil { return true }
    if organization.devices.count >= ServiceLimits.quickstartDevicesMax {
      let gone = organization.devices.values.filter { $0.record.connection?.isConnected != true }
      guard let oldest = gone.min(by: { ($0.record.connection?.time ?? 0) < ($1.record.connection?.time ?? 0) }) else {
        return false
      }
      organization.devices[oldest.key] = nil
    }
    organization.devices[key] = Device(
      DeviceRecord(typeID: key.typeID, deviceID: key.deviceID, registered: now.wall.milliseconds))
    return true
  }

  // MARK: - Delays

  /// Counts a failed authentication, or a takeover.
  func noteFailure(_ clientID: String) {
    if failures[clientID] == nil, failures.count >= ServiceLimits.failureRecordsMax { return }
    var record = failures[clientID] ?? FailureRecord(count: 0, last: now.instant)
    record.count += 1
    record.last = now.instant
    failures[clientID] = record
  }

  /// How much later a client identifier with this many failures is answered.
  private func answerDelay(_ clientID: String) -> TimeSpan? {
    guard let record = failures[clientID], record.count > ServiceLimits.failuresFree else { return nil }
    return min(.seconds(Int64(record.count - ServiceLimits.failuresFree)), ServiceLimits.answerDelayMax)
  }

  /// Keeps a CONNECT for later, or drops it where an earlier one of the same client identifier waits already; false
  /// where it is to be handled now.
  func delay(
    _ identity: ClientIdentity, _ bytes: Span<UInt8>, _ connection: ClientConnection, _ clientID: String
  ) -> Bool {
    guard let delay = answerDelay(clientID) else { return false }
    if let other = failures[clientID]?.delayed, other != connection.id, connections[other] != nil {
      tellFailedConnect(identity, clientID, connection, .delayed)
      close(connection, .delayed)
      return true
    }
    failures[clientID]?.delayed = connection.id
    connection.state = .delayed(until: now.instant + delay, connect: Array(copying: bytes))
    return true
  }

  /// Handles a CONNECT whose time has come.
  func finishDelay(_ connection: ClientConnection, _ bytes: [UInt8]) {
    connection.state = .awaitingConnect
    guard case .connect(let connect)? = try? Packet.decode(bytes.span) else { return close(connection, .malformed) }
    failures[String(copying: bytes.span.extracting(connect.clientID))]?.delayed = nil
    handleConnect(connect, bytes.span, connection, wasDelayed: true)
    // What came behind CONNECT has waited.
    if connections[connection.id] != nil { output.pauseReading(connection.id, until: now.instant) }
  }

  // MARK: - Refusals

  /// Refuses a CONNECT of a client that may exist: counted, and told to those who watch it.
  func refuse(
    _ identity: ClientIdentity, _ clientID: String, _ connection: ClientConnection, returnCode: UInt8,
    _ code: ClosingCode
  ) {
    noteFailure(clientID)
    log(
      .warning, "client", "refused",
      [
        "client-id": clientID, "address": connection.peer.address, "code": "\(code.rawValue)", "reason": code.reason,
      ])
    tellFailedConnect(identity, clientID, connection, code)
    refuse(connection, returnCode: returnCode, code)
  }

  /// Answers CONNECT with a refusal and closes.
  func refuse(_ connection: ClientConnection, returnCode: UInt8, _ code: ClosingCode) {
    send(connection) { $0.appendConnack(sessionPresent: false, returnCode: returnCode) }
    close(connection, code)
  }
}
