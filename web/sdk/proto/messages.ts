/** The messages of docs/protocol.md, as generated from the schema. */
export * from './gen/ahoy/v1/call_pb.ts';
export * from './gen/ahoy/v1/conversation_pb.ts';
export * from './gen/ahoy/v1/people_pb.ts';
export * from './gen/ahoy/v1/sealed_pb.ts';
export * from './gen/ahoy/v1/session_pb.ts';
