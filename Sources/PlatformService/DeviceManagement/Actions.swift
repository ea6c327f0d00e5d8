// The device-management server's active half: requests of applications become sequences of requests to devices, of
// which each answer triggers the next.

import Bytes
import MQTT
import PlatformProtocol

extension PlatformService {
  // MARK: - For applications

  /// Makes a request, and sends each device its first step.
  ///
  /// - Throws: `invalid` for an unknown action, no or too many devices, or a wrong timeout; `notFound` for an unknown
  ///   device; `conflict` where a firmware request is open for a device and this one does not override it.
  public func addRequest(_ draft: ManagementRequestDraft, now: Moment) throws(ServiceError) -> ManagementRequest {
    begin(now)
    let (action, parameters) = try check(draft)
    let seconds = draft.timeoutSeconds ?? ServiceLimits.requestSecondsDefault
    guard (1...ServiceLimits.requestSecondsMax).contains(seconds) else {
      throw ServiceError(.invalid, "A timeout is 1 to \(ServiceLimits.requestSecondsMax) seconds.")
    }
    if action.isFirmware { try makeWay(for: draft) }
    let record = ManagementRequest(
      id: uuid(), action: draft.action, parameters: parameters,
      devices: draft.devices.map {
        DeviceProgress(device: $0, state: .new, message: "", updated: now.wall.milliseconds)
      },
      started: now.wall.milliseconds, expires: now.wall.milliseconds + Int64(seconds) * 1000, isComplete: false)
    guard let request = ActiveRequest(record) else { throw ServiceError(.invalid, "There is no such action.") }
    makeRoomForRequest()
    own.requests[record.id] = request
    own.requestOrder.append(record.id)
    store(.putRequest(record))
    log(
      .info, "management", "request",
      ["action": record.action, "request": record.id, "devices": "\(record.devices.count)"])
    for key in draft.devices { start(request, key) }
    tellChange(own, nil, .requestChanged(id: record.id))
    return request.record
  }

  /// Gives the action of a draft, and the parameters that its devices get.
  private func check(
    _ draft: ManagementRequestDraft
  ) throws(ServiceError) -> (ManagementAction, [ActionParameter]) {
    guard let action = ManagementAction(name: draft.action) else {
      throw ServiceError(
        .invalid,
        "An action is device/reboot, device/factoryReset, firmware/download, firmware/update or BUNDLE/ACTION.")
    }
    guard (1...ServiceLimits.requestDevicesMax).contains(draft.devices.count) else {
      throw ServiceError(.invalid, "A request is for 1 to \(ServiceLimits.requestDevicesMax) devices.")
    }
    guard Set(draft.devices).count == draft.devices.count else {
      throw ServiceError(.invalid, "Each device of a request is named once.")
    }
    for key in draft.devices { _ = try find(key, own) }
    if action == .firmwareUpdate, Set(draft.devices.map(\.typeID)).count > 1 {
      throw ServiceError(.invalid, "All devices of firmware/update are of one type.")
    }
    if case .custom(let id, let name) = action {
      guard let bundle = own.bundles[id] else { throw ServiceError(.notFound, "There is no bundle '\(id)'.") }
      guard let description = bundle["actions"]?[name] else {
        throw ServiceError(.notFound, "The bundle '\(id)' has no action '\(name)'.")
      }
      return (action, try CustomParameter.complete(draft.parameters, for: description))
    }
    return (action, draft.parameters)
  }

  /// One firmware request for a device at a time, unless the new one overrides it.
  private func makeWay(for draft: ManagementRequestDraft) throws(ServiceError) {
    for key in draft.devices {
      let device = try find(key, own)
      for id in device.activeRequests {
        guard let request = own.requests[id], request.action.isFirmware else { continue }
        guard draft.overrides else {
          throw ServiceError(.conflict, "A firmware request of '\(key.typeID)' '\(key.deviceID)' is open: \(id).")
        }
        finish(request, key, .cancelled, "Another request took its place.")
      }
    }
  }

  /// The oldest complete request goes where there are too many; without one the oldest.
  private func makeRoomForRequest() {
    guard own.requests.count >= ServiceLimits.requestsMax else { return }
    let index = own.requestOrder.firstIndex { own.requests[$0]?.record.isComplete == true } ?? 0
    drop(own.requestOrder[index])
  }

  private func drop(_ id: String) {
    guard let request = own.requests[id] else { return }
    for progress in request.record.devices where !progress.isComplete {
      finish(request, progress.device, .cancelled, "The request was removed.")
    }
    own.requests[id] = nil
    own.requestOrder.removeAll { $0 == id }
    store(.removeRequest(id))
  }

  /// All requests, oldest first.
  public var requests: [ManagementRequest] { own.requestOrder.compactMap { own.requests[$0]?.record } }

  /// A request.
  ///
  /// - Throws: `notFound`.
  public func request(_ id: String) throws(ServiceError) -> ManagementRequest {
    guard let request = own.requests[id] else { throw ServiceError(.notFound, "There is no request '\(id)'.") }
    return request.record
  }

  /// Ends what is open in a request.
  ///
  /// - Throws: `notFound`.
  public func cancelRequest(_ id: String, now: Moment) throws(ServiceError) {
    begin(now)
    guard let request = own.requests[id] else { throw ServiceError(.notFound, "There is no request '\(id)'.") }
    for progress in request.record.devices where !progress.isComplete {
      finish(request, progress.device, .cancelled, "An operator cancelled the request.")
    }
  }

  /// Removes a request, and ends what is open in it.
  ///
  /// - Throws: `notFound`.
  public func removeRequest(_ id: String, now: Moment) throws(ServiceError) {
    begin(now)
    _ = try request(id)
    drop(id)
    tellChange(own, nil, .requestChanged(id: id))
  }

  // MARK: - Steps

  private static let waitingMessage = "The device is not connected: waiting for it."

  private func start(_ request: ActiveRequest, _ key: DeviceKey) {
    guard let device = own.devices[key] else { return }
    device.activeRequests.append(request.record.id)
    guard let management = device.record.management else {
      return finish(request, key, .failed, "The device is not managed, or dormant.")
    }
    let isSupported =
      switch request.action {
      case .reboot, .factoryReset: management.supportsDeviceActions
      case .firmwareDownload, .firmwareUpdate: management.supportsFirmwareActions
      case .custom(let bundle, _): management.bundles.contains(bundle)
      }
    guard isSupported else {
      return finish(request, key, .unsupported, "The device does not support \(request.action.name).")
    }
    guard request.action.isFirmware else { return ask(request, key, .initiate) }
    if !request.record.parameters.isEmpty {
      device.record.management?.firmware.merge(firmware(request.record.parameters), now: now.wall)
      keep(device)
    }
    ask(request, key, request.record.parameters.isEmpty ? .observe : .update)
  }

  /// Asks a device something.
  private func ask(
    _ request: ActiveRequest, _ key: DeviceKey, _ question: DeviceProgress.Question, _ message: String? = nil
  ) {
    guard let index = request.index[key], let device = own.devices[key] else { return }
    let id = uuid()
    awaitedAnswers[id] = (request.record.id, key)
    move(request, index, to: .asked(question, requestID: id), message)
    if !sendQuestion(request, index, device) {
      change(request, index) { $0.message = PlatformService.waitingMessage }
    }
  }

  /// Waits for what a device does by itself.
  private func wait(
    _ request: ActiveRequest, _ key: DeviceKey, for state: DeviceProgress.State, _ message: String
  ) {
    guard let index = request.index[key] else { return }
    move(request, index, to: state, message)
  }

  /// What was asked before is not waited for any more.
  private func move(_ request: ActiveRequest, _ index: Int, to state: DeviceProgress.State, _ message: String?) {
    if let old = request.record.devices[index].requestID { awaitedAnswers[old] = nil }
    change(request, index) {
      $0.state = state
      $0.message = message ?? $0.message
    }
    request.deliveries[index] = nil
  }

  /// Sends what the device is asked; false where nobody takes it.
  private func sendQuestion(_ request: ActiveRequest, _ index: Int, _ device: Device) -> Bool {
    guard case .asked(let question, let requestID) = request.record.devices[index].state else { return true }
    let path: String
    var data: JSONValue?
    switch question {
    case .update:
      path = "device/update"
      data = fields([("mgmt.firmware", firmware(request.record.parameters))])
    case .observe:
      path = "observe"
      data = fields([("mgmt.firmware", nil)])
    case .cancel:
      path = "cancel"
      data = fields([("mgmt.firmware", nil)])
    case .initiate:
      path = request.action.topic
      if case .custom = request.action, !request.record.parameters.isEmpty {
        data = fields(request.record.parameters.map { ($0.name, $0.value) })
      }
    }
    let delivery = StepDelivery()
    let isSent = sendManagement(
      path, .members(["d": data, "reqId": .string(requestID)]), device, step: delivery)
    request.deliveries[index] = isSent ? delivery : nil
    return isSent
  }

  /// Asks a device that is there again once more. Once on each connection: a device need not know a `reqId` that it has
  /// seen, and would restart twice.
  private func sendQuestionAgain(_ request: ActiveRequest, _ index: Int, _ device: Device) {
    guard request.record.devices[index].requestID != nil, let session = managementSession(device) else { return }
    if let delivery = request.deliveries[index], delivery.session === session {
      // What waits in a session's queue comes by itself.
      guard !delivery.isWaiting, delivery.connection != session.connection?.id else { return }
    }
    guard sendQuestion(request, index, device) else { return }
    guard request.record.devices[index].message == PlatformService.waitingMessage else { return }
    change(request, index) { $0.message = "" }
  }

  private func fields(_ fields: [(String, JSONValue?)]) -> JSONValue {
    .members(["fields": .array(fields.map { .members(["field": .string($0.0), "value": $0.1]) })])
  }

  /// The firmware attributes that a request brings. All of them are there: what was not given is empty, because
  /// the vendor's Python SDK fails where one is missing.
  private func firmware(_ parameters: [ActionParameter]) -> JSONValue {
    let names = ["version", "name", "uri", "verifier"]
    return .object(
      names.map { name in .init(name, parameters.last { $0.name == name }?.value ?? .string("")) } + [
        .init("state", .integer(0)), .init("updateStatus", .integer(0)), .init("updatedDateTime", .string("")),
      ])
  }

  private func change(_ request: ActiveRequest, _ index: Int, _ change: (inout DeviceProgress) -> Void) {
    change(&request.record.devices[index])
    request.record.devices[index].updated = now.wall.milliseconds
    store(.putProgress(request: request.record.id, request.record.devices[index]))
    tellChange(own, request.record.devices[index].device, .requestChanged(id: request.record.id))
  }

  /// Ends one device's part of a request.
  private func finish(_ request: ActiveRequest, _ key: DeviceKey, _ outcome: DeviceProgress.Outcome, _ message: String)
  {
    guard let index = request.index[key], !request.record.devices[index].isComplete else { return }
    let old = request.record.devices[index].state
    move(request, index, to: .done(outcome), message)
    log(
      .info, "management", "device-done",
      [
        "action": request.action.name, "request": request.record.id, "type": key.typeID, "id": key.deviceID,
        "status": "\(outcome)", "message": message,
      ])
    own.devices[key]?.activeRequests.removeAll { $0 == request.record.id }
    // An observation that failed half-way is taken back; whether that is answered does not matter.
    if request.action.isFirmware, outcome != .success, let device = own.devices[key] {
      switch old {
      case .new, .asked(.initiate, _), .working:
        sendManagement(
          "cancel", .members(["d": fields([("mgmt.firmware", nil)]), "reqId": .string(uuid())]), device)
      case .asked, .restarting, .done: break
      }
    }
    if request.record.devices.allSatisfy(\.isComplete) {
      request.record.isComplete = true
      store(.putRequest(request.record))
    }
  }

  /// Ends a device's part in all requests that are open.
  func failRequests(of device: Device, _ why: String) {
    for id in device.activeRequests {
      if let request = own.requests[id] { finish(request, device.key, .failed, why) }
    }
  }

  // MARK: - From devices

  /// A device answered a request of ours. One that nobody waits for is too late, or a repetition.
  func handleAnswer(_ body: JSONValue, _ device: Device, _ session: ClientSession) {
    let code = body.answerCode
    let text = body["message"]?.string.map { ": \($0)" } ?? ""
    let isSuccess = (200...299).contains(code)
    if !isSuccess, let id = body["reqId"]?.string, restartQuestions[device.key] == id {
      return failRestart(device, "The device answered \(code)\(text)")
    }
    guard let id = body["reqId"]?.string, let awaited = awaitedAnswers[id], awaited.device == device.key,
      let request = own.requests[awaited.request], let index = request.index[device.key],
      case .asked(let question, _) = request.record.devices[index].state
    else {
      log(.debug, "management", "unknown-answer", ["client-id": session.clientID])
      return
    }
    awaitedAnswers[id] = nil
    switch question {
    case .cancel: finish(request, device.key, .success, "Done.")
    case _ where code == 501: finish(request, device.key, .unsupported, "The device answered 501\(text)")
    case _ where !isSuccess: finish(request, device.key, .failed, "The device answered \(code)\(text)")
    case .update: ask(request, device.key, .observe)
    case .observe:
      takeObserved(body["d"], device)
      keep(device)
      ask(request, device.key, .initiate)
    case .initiate:
      switch request.action {
      case .reboot, .factoryReset:
        wait(request, device.key, for: .restarting, "The device is restarting.")
        restartQuestions[device.key] = id
      case .firmwareDownload, .firmwareUpdate: wait(request, device.key, for: .working, "The device has begun.")
      case .custom: finish(request, device.key, .success, "Done.")
      }
    }
  }

  /// A device that was about to restart says that it could not.
  private func failRestart(_ device: Device, _ why: String) {
    restartQuestions[device.key] = nil
    for id in device.activeRequests {
      guard let request = own.requests[id], let index = request.index[device.key],
        case .restarting = request.record.devices[index].state
      else { continue }
      finish(request, device.key, .failed, why)
    }
  }

  /// A device told about its firmware.
  func advanceFirmware(_ device: Device, _ value: JSONValue, before: FirmwareRecord) {
    for id in device.activeRequests {
      guard let request = own.requests[id], request.action.isFirmware, let index = request.index[device.key] else {
        continue
      }
      // A notification may overtake the answer that should come before it.
      let isWorking: Bool
      switch request.record.devices[index].state {
      case .new, .asked(.initiate, _): isWorking = false
      case .working: isWorking = true
      case .asked, .restarting, .done: continue
      }
      guard let firmware = device.record.management?.firmware else { continue }
      let hasFailed = value["updateStatus"]?.integer.map { $0 >= 2 } ?? false
      if hasFailed {
        finish(request, device.key, .failed, updateStatusText(firmware.updateStatus))
      } else if request.action == .firmwareDownload {
        if firmware.state == 2 {
          ask(request, device.key, .cancel, "The image is downloaded.")
        } else {
          wait(request, device.key, for: .working, "The device is downloading.")
        }
      } else if value["updateStatus"]?.integer == 0, before.updateStatus == 1 || isWorking {
        if !firmware.version.isEmpty { device.record.deviceInfo.fwVersion = firmware.version }
        ask(request, device.key, .cancel, "The image is installed.")
      } else {
        wait(request, device.key, for: .working, "The device is installing.")
      }
    }
  }

  private func updateStatusText(_ status: Int64) -> String {
    switch status {
    case 2: "The device is out of memory."
    case 3: "The device lost its connection to the image's server."
    case 4: "The image's verification failed."
    case 5: "The image is not supported."
    case 6: "The image's URI is not valid."
    default: "The device reports update status \(status)."
    }
  }

  /// A device that is there again: what it restarted for is done, and what it missed is sent again.
  func resumeAfterManage(_ device: Device) {
    for id in device.activeRequests {
      guard let request = own.requests[id], let index = request.index[device.key] else { continue }
      switch request.record.devices[index].state {
      case .restarting:
        restartQuestions[device.key] = nil
        finish(request, device.key, .success, "The device has restarted.")
      case .asked: sendQuestionAgain(request, index, device)
      case .new, .working, .done: break
      }
    }
  }

  /// A session that takes device-management messages from now on: what waited for it is sent.
  func resumeRequests(_ session: ClientSession) {
    guard let device = session.device, device.record.management != nil else { return }
    for id in device.activeRequests {
      guard let request = own.requests[id], let index = request.index[device.key] else { continue }
      sendQuestionAgain(request, index, device)
    }
  }

  // MARK: - Time

  /// Ends what took too long.
  func tickManagement() {
    expireManagement()
    for id in own.requestOrder {
      guard let request = own.requests[id], !request.record.isComplete,
        request.record.expires <= now.wall.milliseconds
      else { continue }
      for progress in request.record.devices where !progress.isComplete {
        finish(request, progress.device, .timedOut, "The request timed out; the device was at: \(progress.step).")
      }
    }
  }
}

extension JSONValue {
  /// The code of an answer; old clients write it as text.
  fileprivate var answerCode: Int64 { self["rc"]?.integer ?? self["rc"]?.string.flatMap { Int64($0) } ?? 0 }
}
