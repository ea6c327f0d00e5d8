// Taking over what an earlier run kept.

import Bytes
import MQTT
import PlatformProtocol

extension PlatformService {
  func restore(_ state: StoredState) {
    for type in state.types { own.types[type.id] = type }
    usage = state.usage
    for record in state.devices {
      var record = record
      for index in record.log.indices where record.log[index].id == nil { record.log[index].id = uuid() }
      let device = Device(record)
      own.devices[record.key] = device
      restoreStatus(device)
    }
    for key in state.keys { own.keys[key.key] = key }
    own.bundles = state.bundles
    for (key, event) in state.lastEvents {
      guard let device = own.devices[key], device.lastEvents.count < ServiceLimits.lastEventsMax else { continue }
      device.lastEvents.append(event)
      device.lastEventTime = max(event.time, device.lastEventTime ?? event.time)
    }
    // Requests first: their steps may wait in sessions.
    restoreRequests(state)
    restoreSessions(state)
    commit = 0
  }

  private func restoreSessions(_ state: StoredState) {
    var byNumber: [Int64: ClientSession] = [:]
    for record in state.sessions {
      nextSessionNumber = max(nextSessionNumber, record.number + 1)
      guard let identity = ClientIdentity(record.clientID.utf8Span.span), identity.organization == own.name else {
        continue
      }
      let session = ClientSession(
        id: record.clientID, clientID: record.clientID, identity: identity, organization: own, number: record.number)
      if let key = identity.device {
        guard let device = own.devices[key] else { continue }
        session.device = device
      }
      own.sessions[session.id] = session
      own.durableSessionCount += 1
      let since = record.awaySince ?? now.wall.milliseconds
      let rest = ServiceLimits.sessionMemory.milliseconds - max(0, now.wall.milliseconds - since)
      session.presence = .away(
        since: WallTime(milliseconds: since),
        forgetAt: now.instant + max(.milliseconds(rest), ServiceLimits.sessionMemoryMin))
      byNumber[record.number] = session
      for subscription in record.subscriptions { restore(subscription, session) }
    }
    for message in state.messages {
      guard let session = byNumber[message.session] else { continue }
      session.queue.restore(message, step: waitingStep(message, session))
      queuedBytes += message.topic.count + message.payload.count
    }
    for (number, identifier) in state.identifiers { byNumber[number]?.received.insert(identifier) }
  }

  private func restore(_ record: SubscriptionRecord, _ session: ClientSession) {
    let text = Array(record.filter.utf8)
    guard let filter = subscribedFilter(text.span, session.identity) else { return }
    _ = subscribe(session, filter, text: text, qos: record.qos)
  }

  /// The step of a request that a message is, which has not been acknowledged yet.
  private func waitingStep(_ message: MessageRecord, _ session: ClientSession) -> StepDelivery? {
    guard !awaitedAnswers.isEmpty, message.topic.starts(with: "iotdm-1/".utf8),
      let id = (try? JSONValue(message.payload.span))?["reqId"]?.string, let awaited = awaitedAnswers[id],
      let request = own.requests[awaited.request], let index = request.index[awaited.device]
    else { return nil }
    let delivery = StepDelivery()
    delivery.session = session
    delivery.isWaiting = true
    request.deliveries[index] = delivery
    return delivery
  }

  private func restoreRequests(_ state: StoredState) {
    for record in state.requests.sorted(by: { $0.started < $1.started }) {
      guard let request = ActiveRequest(record) else { continue }
      own.requests[record.id] = request
      own.requestOrder.append(record.id)
      for progress in record.devices where !progress.isComplete {
        own.devices[progress.device]?.activeRequests.append(record.id)
        if let id = progress.requestID { awaitedAnswers[id] = (record.id, progress.device) }
      }
    }
  }
}
