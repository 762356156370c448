// The story by grpc-js and proto-loader, which read the proto files when the program starts; nothing is generated.
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const { AKA, AKA_KEY, AKA_LOCKED, AKA_LOCKED_KEY, AKA_PROTOS } = process.env;

const definition = loadSync(["aka/v1/alias_service.proto", "google/rpc/error_details.proto"], {
  includeDirs: [AKA_PROTOS, `${AKA_PROTOS}/third_party`],
  keepCase: true,
  enums: String,
  longs: String,
});
const { AliasService } = grpc.loadPackageDefinition(definition).aka.v1;

function connect(address, key) {
  const client = new AliasService(address, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${key}`);
  return {
    call: (method, request, options = {}) =>
      new Promise((resolve, reject) => {
        client[method](request, metadata, options, (error, response) => (error ? reject(error) : resolve(response)));
      }),
    send: (method, requests) =>
      new Promise((resolve, reject) => {
        const stream = client[method](metadata, (error, response) => (error ? reject(error) : resolve(response)));
        requests.forEach((request) => stream.write(request));
        stream.end();
      }),
    read: (method, request) => client[method](request, metadata).toArray(),
    close: () => client.close(),
  };
}

function told(error) {
  const read = { code: error.code };
  for (const bytes of error.metadata.get("grpc-status-details-bin")) {
    for (const { type_url, value } of definition["google.rpc.Status"].deserialize(bytes).details) {
      if (type_url.endsWith("/google.rpc.ErrorInfo")) {
        Object.assign(read, definition["google.rpc.ErrorInfo"].deserialize(value));
      }
    }
  }
  return read;
}

async function refused(call) {
  try {
    await call;
  } catch (error) {
    return told(error);
  }
  throw new Error("the call was not refused");
}

// proto-loader takes and gives google.protobuf's types as they are on the wire; in JSON they have forms of their own.
function struct(values) {
  const fields = Object.entries(values).map(([name, value]) => [
    name,
    typeof value === "number" ? { numberValue: value } : { stringValue: value },
  ]);
  return { fields: Object.fromEntries(fields) };
}

function asJson(_, value) {
  if (value?.seconds !== undefined) {
    return new Date(Number(value.seconds) * 1000).toISOString();
  }
  if (value?.fields !== undefined) {
    const fields = Object.entries(value.fields).map(([name, field]) => [name, field.stringValue ?? field.numberValue]);
    return Object.fromEntries(fields);
  }
  return value;
}

const kiosk = { alias_label: "kiosk", alias_name: "7" };
const aka = connect(AKA, AKA_KEY);
const answers = {
  CreateAliases: await aka.call("CreateAliases", { user_aliases: [kiosk] }),
  Identify: await aka.call("Identify", {
    aliases_to_identify: [{ external_id: "user_123", user_alias: kiosk }],
    merge_behavior: "MERGE_BEHAVIOR_MERGE",
  }),
  Alias: await aka.call("Alias", { user_id: "user_123", alias_id: "legacy_999" }),
  BatchAlias: await aka.call("BatchAlias", {
    requests: [
      { user_id: "user_123", alias_id: "crm:1" },
      { user_id: "user_456", alias_id: "crm:2", merge_policy: "MERGE_POLICY_ALWAYS", create_missing: true },
    ],
  }),
  Resolve: await aka.call("Resolve", { identifiers: [{ id: "crm:1" }, { user_alias: kiosk }, { id: "nobody" }] }),
  GetProfile: await aka.call("GetProfile", { identifier: { id: "legacy_999" } }),
  DeleteAlias: await aka.call("DeleteAlias", { id: "crm:1" }),
  ImportLinks: await aka.send("ImportLinks", [
    { links: [{ user_id: "user_789" }, { user_id: "user_789", alias_id: "erp:1" }] },
    { links: [{ user_id: "user_123", alias_id: "legacy_999" }] },
  ]),
  ExportLinks: await aka.read("ExportLinks", {}),
  Track: await aka.call("Track", {
    attributes: [{ external_id: "user_123", attributes: struct({ city: "Bern" }) }],
    events: [{ external_id: "user_123", name: "signed_up", properties: struct({ plan: "free", seats: 2 }) }],
  }),
  ExportProfiles: await aka.call("ExportProfiles", {
    profiles: [{ id: "user_123" }],
    fields: { paths: ["attributes", "events"] },
  }),
};
const refusal = await refused(aka.call("Alias", { user_id: "nobody", alias_id: "legacy_000" }));
aka.close();

const locked = connect(AKA_LOCKED, AKA_LOCKED_KEY);
const change = { user_id: "user_123", alias_id: "legacy_999", create_missing: true };
const late = await refused(locked.call("Alias", change, { deadline: Date.now() + 300 }));
const unavailable = await refused(locked.call("Alias", change));
locked.close();

console.log(JSON.stringify({ answers, refusal, late, unavailable }, asJson));
