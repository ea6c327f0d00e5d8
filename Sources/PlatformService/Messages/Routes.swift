// Who gets what. Topics of this platform have few shapes, so there is no tree of levels: subscriptions are found by
// kind, type and device, of which each may be a wildcard, in four look-ups at most; name and format are compared then.

/// The subscribers of one filter: one session, or the members of a shared application.
final class Route {
  let filter: TopicFilter
  /// The application whose connections share this route; nil for a session of its own.
  let sharedBy: String?
  private(set) var members: [Member] = []
  /// Where the search for the next member begins.
  private var next = 0

  struct Member {
    let session: ClientSession
    var qos: UInt8
  }

  init(filter: TopicFilter, sharedBy: String?) {
    self.filter = filter
    self.sharedBy = sharedBy
  }

  func set(_ session: ClientSession, qos: UInt8) {
    if let index = members.firstIndex(where: { $0.session === session }) {
      members[index].qos = qos
    } else {
      members.append(Member(session: session, qos: qos))
    }
  }

  func remove(_ session: ClientSession) { members.removeAll { $0.session === session } }

  /// The member whose turn it is: connected ones first, then those with durable sessions. Looks at each at most once.
  func nextMember() -> Member? {
    var fallback: Int?
    for offset in members.indices {
      let index = (next + offset) % members.count
      if members[index].session.connection != nil {
        next = (index + 1) % members.count
        return members[index]
      }
      if fallback == nil, members[index].session.isDurable { fallback = index }
    }
    guard let fallback else { return nil }
    next = (fallback + 1) % members.count
    return members[fallback]
  }
}

/// The routes of one organisation.
struct Routes {
  private struct Key: Hashable {
    let kind: TopicKind
    let type: String?
    let device: String?
  }

  private struct RouteID: Hashable {
    let filter: TopicFilter
    let owner: ObjectIdentifier?
    let application: String?
  }

  private var byKey: [Key: [Route]] = [:]
  private var byID: [RouteID: Route] = [:]
  /// Changes whenever a subscription to events does: devices remember who wants theirs.
  private(set) var eventGeneration: UInt64 = 1

  mutating func add(_ filter: TopicFilter, _ session: ClientSession, qos: UInt8) {
    let id = routeID(filter, session)
    if let route = byID[id] {
      route.set(session, qos: qos)
      return
    }
    let route = Route(filter: filter, sharedBy: session.sharedApplicationID)
    route.set(session, qos: qos)
    byID[id] = route
    byKey[key(filter), default: []].append(route)
    if filter.kind == .event { eventGeneration += 1 }
  }

  mutating func remove(_ filter: TopicFilter, _ session: ClientSession) {
    let id = routeID(filter, session)
    guard let route = byID[id] else { return }
    route.remove(session)
    guard route.members.isEmpty else { return }
    byID[id] = nil
    byKey[key(filter)]?.removeAll { $0 === route }
    if byKey[key(filter)]?.isEmpty == true { byKey[key(filter)] = nil }
    if filter.kind == .event { eventGeneration += 1 }
  }

  /// All routes of one kind for a device; of applications' monitoring `type` is the application.
  func routes(_ kind: TopicKind, type: String, device: String?) -> [Route] {
    var found = byKey[Key(kind: kind, type: type, device: device)] ?? []
    if let any = byKey[Key(kind: kind, type: nil, device: device)] { found += any }
    guard device != nil else { return found }
    if let any = byKey[Key(kind: kind, type: type, device: nil)] { found += any }
    if let any = byKey[Key(kind: kind, type: nil, device: nil)] { found += any }
    return found
  }

  private func key(_ filter: TopicFilter) -> Key {
    Key(kind: filter.kind, type: filter.type, device: filter.device)
  }

  private func routeID(_ filter: TopicFilter, _ session: ClientSession) -> RouteID {
    let application = session.sharedApplicationID
    return RouteID(
      filter: filter, owner: application == nil ? ObjectIdentifier(session) : nil, application: application)
  }
}
