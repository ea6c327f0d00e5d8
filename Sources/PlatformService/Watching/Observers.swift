// Who watches what. A message looks only at those who watch its device, or all devices, for messages of its kind: of
// thousands that wait for commands of their own none is asked about another's event.

import PlatformProtocol

/// The streams that are open.
struct Observers {
  /// What is told.
  enum Kind: Hashable {
    case events, commands, changes
  }

  private struct Place: Hashable {
    let kind: Kind
    let organization: String
    /// nil for those who watch all of them.
    let deviceID: String?
  }

  private var filters: [ObserverID: ObservationFilter] = [:]
  private var places: [Place: [ObserverID]] = [:]

  var count: Int { filters.count }

  func count(where isMeant: (ObservationFilter) -> Bool) -> Int { filters.values.count(where: isMeant) }

  /// Those that a client has.
  func ids(ofClient client: String) -> [ObserverID] { filters.filter { $0.value.client == client }.map(\.key) }

  mutating func add(_ id: ObserverID, _ filter: ObservationFilter) {
    filters[id] = filter
    for place in Observers.places(of: filter) { places[place, default: []].append(id) }
  }

  mutating func remove(_ id: ObserverID) {
    guard let filter = filters.removeValue(forKey: id) else { return }
    for place in Observers.places(of: filter) {
      places[place]?.removeAll { $0 == id }
      if places[place]?.isEmpty == true { places[place] = nil }
    }
  }

  /// Those who want to hear of this.
  func watching(
    _ kind: Kind, _ organization: String, _ device: DeviceKey?
  ) -> [(ObserverID, ObservationFilter)] {
    guard !places.isEmpty else { return [] }
    var ids = places[Place(kind: kind, organization: organization, deviceID: nil)] ?? []
    if let device { ids += places[Place(kind: kind, organization: organization, deviceID: device.deviceID)] ?? [] }
    return ids.compactMap { id in
      guard let filter = filters[id], filter.typeID == nil || filter.typeID == device?.typeID else { return nil }
      return (id, filter)
    }
  }

  private static func places(of filter: ObservationFilter) -> [Place] {
    [(Kind.events, filter.includesEvents), (.commands, filter.includesCommands), (.changes, filter.includesChanges)]
      .filter(\.1).map { Place(kind: $0.0, organization: filter.organization, deviceID: filter.deviceID) }
  }
}
