// The formats that schemas of Kubernetes name, as their code calls them: functions, but for quantity, which is a pattern.
const integer = (bits) => ({
  type: "number",
  validate: (value) => Number.isInteger(value) && value >= -(2 ** (bits - 1)) && value < 2 ** (bits - 1),
});
const text = (pattern) => ({ validate: (value) => pattern.test(value) });

export const formats = {
  int32: integer(32),
  int64: integer(64),
  double: { type: "number", validate: Number.isFinite },
  byte: text(/^[A-Za-z0-9+/]*={0,2}$/),
  "date-time": text(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/),
  quantity: { validate: /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[KMGTPE]i|[numkMGTPE])?$/ },
};
