import MQTT
import Testing

/// The whole grid of (state, answer): a change of any cell fails here.
@Test func publishStatesMoveOnlyAlongSection4Point3() {
  let fault = PublishStep.fault(.answerOfWrongKind)
  let grid: [(PublishState, PublishAnswer, PublishStep)] = [
    (.none, .puback, .ignore), (.none, .pubrec, .repeatRelease), (.none, .pubcomp, .ignore),
    (.awaitingPuback, .puback, .finish), (.awaitingPuback, .pubrec, fault), (.awaitingPuback, .pubcomp, fault),
    (.awaitingPubrec, .puback, .finishAtLeastOnce), (.awaitingPubrec, .pubrec, .release),
    (.awaitingPubrec, .pubcomp, fault),
    (.awaitingPubcomp, .puback, fault), (.awaitingPubcomp, .pubrec, .repeatRelease),
    (.awaitingPubcomp, .pubcomp, .finish),
  ]
  for (state, answer, step) in grid { #expect(state.step(on: answer) == step, "\(state) on \(answer)") }
  #expect(Set(grid.map { "\($0.0) \($0.1)" }).count == 4 * 3)
}
