// What a list of devices shows of each: gathered in one step, as a list may be long and is asked for often.

import PlatformProtocol
import PlatformService

/// One device in a list.
public struct DeviceOverview: Sendable {
  /// The registration.
  public let record: DeviceRecord
  /// When its last event came, in milliseconds since 1970.
  public let lastEventTime: Int64?

  /// When anything was last heard of it, in milliseconds since 1970: an event, or that its connection came or went.
  public var lastSeen: Int64? {
    let connection = record.connection.map { $0.isConnected ? $0.connectTime : $0.time }
    return [lastEventTime, connection, record.management?.lastActivityTime].compactMap { $0 }.max()
  }
}

extension ServiceActor {
  /// All devices of an organisation, or those of `keys` that it has.
  public func overview(inQuickstart: Bool, of keys: Set<DeviceKey>? = nil) -> [DeviceOverview] {
    let records: [DeviceRecord]
    if let keys {
      records = keys.compactMap { try? service.device($0, inQuickstart: inQuickstart) }
    } else {
      records = service.devices(inQuickstart: inQuickstart)
    }
    return records.map { record in
      DeviceOverview(record: record, lastEventTime: service.lastEventTime(record.key, inQuickstart: inQuickstart))
    }
  }
}
