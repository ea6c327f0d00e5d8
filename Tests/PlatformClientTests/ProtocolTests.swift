import PlatformClient
import PlatformProtocol
import Testing

@Suite struct TopicTests {
  @Test func filters() {
    #expect(ApplicationFilter.events(type: nil, device: nil, event: nil).text == "iot-2/type/+/id/+/evt/+/fmt/+")
    #expect(ApplicationFilter.events(type: "T", device: "D", event: "E").text == "iot-2/type/T/id/D/evt/E/fmt/+")
    #expect(ApplicationFilter.devices(type: "T", device: nil).text == "iot-2/type/T/id/+/mon")
    #expect(ApplicationFilter.applications(id: nil).text == "iot-2/app/+/mon")
    let device = DeviceKey(typeID: "T", deviceID: "D")
    #expect(commandTopic(device, name: "C", format: "json") == "iot-2/type/T/id/D/cmd/C/fmt/json")
  }

  @Test func subjects() {
    let device = DeviceKey(typeID: "T", deviceID: "D")
    func subject(_ topic: String) -> ApplicationMessage.Subject {
      ApplicationMessage(topic: topic, payload: []).subject
    }
    #expect(subject("iot-2/type/T/id/D/evt/E/fmt/json") == .event(device, name: "E", format: "json"))
    #expect(subject("iot-2/type/T/id/D/mon") == .device(device))
    #expect(subject("iot-2/app/A/mon") == .application("A"))
    for topic in ["", "iot-2", "iot-2/type/T/id/D/cmd/C/fmt/json", "iot-3/app/A/mon", "iot-2/type/T/id/D/mon/x"] {
      #expect(subject(topic) == .other)
    }
  }
}

@Suite struct URLTests {
  @Test func partsOfPathsAreEncoded() {
    #expect(pathPart("a-b_c.d~9") == "a-b_c.d~9")
    #expect(pathPart("a/b c?#%") == "a%2Fb%20c%3F%23%25")
  }
}
