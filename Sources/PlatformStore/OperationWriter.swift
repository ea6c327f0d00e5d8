// Changes become rows. What is looked for by its parts has columns, all else is one JSON text: nobody searches in it,
// and a new member needs no migration.

import Foundation
import GRDB
import PlatformProtocol
import PlatformService

/// Applies changes to a database within a transaction.
struct OperationWriter {
  let database: Database
  /// Changes of last events, for the journal.
  private(set) var events: [EventEntry] = []
  private let encoder = JSONEncoder()

  init(database: Database) { self.database = database }

  mutating func apply(_ operation: StoreOperation) throws {
    switch operation {
    case .putType(let type): try put("type", "id", type.id, try text(type))
    case .removeType(let id): try remove("type", "id", id)
    case .putKey(let key): try put("apiKey", "key", key.key, try text(key))
    case .removeKey(let key): try remove("apiKey", "key", key)
    case .putBundle(let id, let bundle): try put("bundle", "id", id, bundle.text)
    case .removeBundle(let id): try remove("bundle", "id", id)
    case .putDevice(let device): try putDevice(device)
    case .removeDevice(let key):
      try execute("DELETE FROM device WHERE typeID = ? AND deviceID = ?", [key.typeID, key.deviceID])
      events.append(.removeAll(key))
    case .putConnection(let key, let status):
      try execute(
        "UPDATE device SET connection = ? WHERE typeID = ? AND deviceID = ?",
        [try text(status), key.typeID, key.deviceID])
    case .putLastEvent(let key, let event): events.append(.put(key, event))
    case .removeLastEvent(let key, let event): events.append(.remove(key, eventID: event))
    case .putUsage(let day, let byteCount):
      try execute(
        "INSERT INTO usage (day, byteCount) VALUES (?, ?) ON CONFLICT DO UPDATE SET byteCount = excluded.byteCount",
        [day, byteCount])
    case .putSession(let session):
      try execute(
        "INSERT INTO session (number, record) VALUES (?, ?) ON CONFLICT DO UPDATE SET record = excluded.record",
        [session.number, try text(session)])
    case .removeSession(let number):
      for table in ["message", "identifier"] { try execute("DELETE FROM \(table) WHERE session = ?", [number]) }
      try execute("DELETE FROM session WHERE number = ?", [number])
    case .putMessage(let message): try putMessage(message)
    case .releaseMessage(let session, let sequence):
      try execute("UPDATE message SET isReleased = 1 WHERE session = ? AND sequence = ?", [session, sequence])
    case .removeMessage(let session, let sequence):
      try execute("DELETE FROM message WHERE session = ? AND sequence = ?", [session, sequence])
    case .putIdentifier(let session, let identifier):
      try execute("INSERT OR IGNORE INTO identifier (session, identifier) VALUES (?, ?)", [session, identifier])
    case .removeIdentifier(let session, let identifier):
      try execute("DELETE FROM identifier WHERE session = ? AND identifier = ?", [session, identifier])
    case .putRequest(let request): try putRequest(request)
    case .putProgress(let request, let progress):
      try execute(
        "UPDATE progress SET record = ? WHERE request = ? AND typeID = ? AND deviceID = ?",
        [try text(progress), request, progress.device.typeID, progress.device.deviceID])
    case .removeRequest(let id):
      try execute("DELETE FROM progress WHERE request = ?", [id])
      try remove("request", "id", id)
    }
  }

  private func putDevice(_ device: DeviceRecord) throws {
    // Connections have a column of their own: they come and go far more often.
    var record = device
    record.connection = nil
    try execute(
      """
      INSERT INTO device (typeID, deviceID, record) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET record = excluded.record
      """, [device.typeID, device.deviceID, try text(record)])
  }

  private func putMessage(_ message: MessageRecord) throws {
    try execute(
      "INSERT INTO message (session, sequence, topic, payload, qos, isReleased) VALUES (?, ?, ?, ?, ?, ?)",
      [
        message.session, message.sequence, Data(message.topic), Data(message.payload), message.qos,
        message.isReleased,
      ])
  }

  private func putRequest(_ request: ManagementRequest) throws {
    var header = request
    header.devices = []
    try put("request", "id", request.id, try text(header))
    for (place, progress) in request.devices.enumerated() {
      try execute(
        """
        INSERT INTO progress (request, typeID, deviceID, place, record) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET record = excluded.record
        """, [request.id, progress.device.typeID, progress.device.deviceID, place, try text(progress)])
    }
  }

  private func put(_ table: String, _ column: String, _ id: String, _ record: String) throws {
    try execute(
      "INSERT INTO \(table) (\(column), record) VALUES (?, ?) ON CONFLICT DO UPDATE SET record = excluded.record",
      [id, record])
  }

  private func remove(_ table: String, _ column: String, _ id: String) throws {
    try execute("DELETE FROM \(table) WHERE \(column) = ?", [id])
  }

  private func execute(_ sql: String, _ arguments: StatementArguments) throws {
    try database.cachedStatement(sql: sql).execute(arguments: arguments)
  }

  private func text(_ value: some Encodable) throws -> String {
    String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
