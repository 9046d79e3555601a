// Checks Kubernetes objects against the schemas of their kinds:  node validate.mjs NODE_MODULES <objects.json
//
// Standard input is a JSON array of objects. A line on standard output for each that does not fit; exit 1 if there is one.
// The schemas are functions that say what is missing or of a wrong type. They are silent about fields that they do not
// know, so they are given objects that remember which of their fields were looked at: a field that nobody asked for is
// misspelt, or in the wrong place, and the API server would drop it or refuse the object.
import path from "node:path";
import { pathToFileURL } from "node:url";

const CORE = "kubernetes-models/_schemas/IoK8sApi";
const GROUPS = {
  "": `${CORE}Core`,
  apps: `${CORE}Apps`,
  autoscaling: `${CORE}Autoscaling`,
  batch: `${CORE}Batch`,
  "networking.k8s.io": `${CORE}Networking`,
  policy: `${CORE}Policy`,
  "monitoring.coreos.com":
    "@kubernetes-models/prometheus-operator/_schemas/ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoring",
};

function schemaOf({ apiVersion = "", kind = "" }) {
  const [version, group = ""] = apiVersion.split("/").reverse();
  if (!(group in GROUPS)) throw new Error(`no schema for ${apiVersion} ${kind}`);
  return `${GROUPS[group]}${version[0].toUpperCase()}${version.slice(1)}${kind}.js`;
}

// A view of `value` that notes into `unread` what has not been looked at.
function watched(value, at, unread) {
  if (value === null || typeof value !== "object") return value;
  const fields = new Map(Object.keys(value).map((key) => [key, watched(value[key], `${at}/${key}`, unread)]));
  for (const key of fields.keys()) unread.add(`${at}/${key}`);
  return new Proxy(value, {
    get(target, key) {
      if (!fields.has(key)) return target[key];
      unread.delete(`${at}/${key}`);
      return fields.get(key);
    },
  });
}

async function problemsOf(object, modules) {
  const { validate } = await import(pathToFileURL(path.resolve(modules, schemaOf(object))));
  const unread = new Set();
  const fits = validate(watched(object, "", unread));
  const wrong = fits ? [] : validate.errors.map((error) =>
    `${error.instancePath || "/"}: ${error.keyword} ${JSON.stringify(error.params)}`);
  // Of a field that is not known only itself, and not what is inside.
  const unknown = [...unread].filter((at) => ![...unread].some((other) => at.startsWith(`${other}/`)));
  return [...wrong, ...unknown.map((at) => `${at}: no such field`)];
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
let failed = false;
for (const object of JSON.parse(Buffer.concat(chunks).toString())) {
  const name = `${object.kind} ${object.metadata?.name}`;
  try {
    for (const problem of await problemsOf(object, process.argv[2])) {
      console.log(`${name}: ${problem}`);
      failed = true;
    }
  } catch (error) {
    console.log(`${name}: ${error.message}`);
    failed = true;
  }
}
process.exitCode = failed ? 1 : 0;
