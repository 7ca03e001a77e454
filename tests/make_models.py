"""Run in a model server's environment: makes models, and what they predict. Argument: a folder."""

import json
import pickle
import sys
import zlib
from pathlib import Path

import joblib
import numpy as np
import pandas
import xgboost
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

folder = Path(sys.argv[1])
iris, species = load_iris(return_X_y=True)
cells, cancer = load_breast_cancer(return_X_y=True)
expected = {}


def keep(name, estimator, rows, save):
    file = folder / name
    save(estimator, file)
    estimator = joblib.load(file)  # as the server has it
    predicted = estimator.predict(rows)
    single = np.concatenate([estimator.predict(rows[i : i + 1]) for i in range(len(rows))])
    expected[name] = {
        "rows": rows.tolist(),
        "batch": predicted.tolist(),
        "single": single.tolist(),
    }


class Broken(BaseEstimator):
    def fit(self):
        self.n_features_in_ = 4
        return self

    def predict(self, rows):
        raise RuntimeError("the model broke")


logistic = LogisticRegression(max_iter=1000)
keep("logistic.joblib", logistic.fit(iris, species), iris, joblib.dump)
keep("named.pkl", logistic.fit(iris, np.array(["a", "b", "c"])[species]), iris,
     lambda model, file: file.write_bytes(pickle.dumps(model)))  # fmt: skip
keep("linear.joblib", LinearRegression().fit(cells, cancer), cells[:64], joblib.dump)
forest = RandomForestRegressor(20, random_state=0).fit(iris, species)
keep("forest.pickle", forest, iris, lambda model, file: joblib.dump(model, file, compress=3))
boosted = xgboost.XGBClassifier(n_estimators=20, max_depth=3).fit(cells, cancer)
keep("boosted.pkl", boosted, cells[:64], joblib.dump)
booster = boosted.get_booster()
for name in ("booster.json", "booster.ubj"):
    booster.save_model(folder / name)
    values = booster.predict(xgboost.DMatrix(cells[:64])).tolist()
    expected[name] = {"rows": cells[:64].tolist(), "batch": values, "single": values}
booster.feature_names = [f"cell{number}" for number in range(cells.shape[1])]
booster.save_model(folder / "columns.ubj")
# A pipeline's artifacts have no extension.
(folder / "artifact").mkdir()
(folder / "artifact" / "model").write_bytes((folder / "logistic.joblib").read_bytes())
expected["artifact/model"] = expected["logistic.joblib"]
(folder / "boosterfile").write_bytes((folder / "booster.ubj").read_bytes())
expected["boosterfile"] = expected["booster.ubj"]

keep("clusters.joblib", KMeans(3, n_init=1, random_state=0).fit(iris), iris, joblib.dump)
two = LinearRegression().fit(iris, np.stack([species, species * 2], axis=1))
keep("two.joblib", two, iris, joblib.dump)

text = make_pipeline(CountVectorizer(), MultinomialNB())
joblib.dump(text.fit(["good day", "bad night"], [1, 0]), folder / "text.joblib")
joblib.dump(5, folder / "five.joblib")
(folder / "several").mkdir()
for name in ("a.joblib", "b.pkl"):
    joblib.dump(logistic, folder / "several" / name)
(folder / "empty").mkdir()
(folder / "garbage.joblib").write_bytes(b"\x80\x04nonsense")
Broken.__module__ = "broken_model"
sys.modules["broken_model"] = sys.modules["__main__"]
joblib.dump(Broken().fit(), folder / "broken.joblib")


class Slow(Broken):
    pass


class Raw(Broken):
    pass


for kind, name in ((Slow, "slow.joblib"), (Raw, "raw.joblib")):
    kind.__module__ = "broken_model"
    joblib.dump(kind().fit(), folder / name)
(folder / "broken_model.py").write_text(
    "import time\n"
    "import numpy\n"
    "from sklearn.base import BaseEstimator\n"
    "class Broken(BaseEstimator):\n"
    "    def predict(self, rows):\n"
    "        raise RuntimeError('the model broke')\n"
    "class Slow(BaseEstimator):\n"
    "    def predict(self, rows):\n"
    "        time.sleep(0.1)\n"
    "        return rows[:, 0]\n"
    "class Raw(BaseEstimator):\n"
    "    def predict(self, rows):\n"
    "        return numpy.array([b'a'] * len(rows))\n"
)


class Whole(xgboost.XGBRegressor):
    pass


Whole.__module__ = "whole_model"
sys.modules["whole_model"] = sys.modules["__main__"]
joblib.dump(Whole(n_estimators=2).fit(iris, species), folder / "whole.pkl")
(folder / "whole_model.py").write_text(
    "import numpy\n"
    "import xgboost\n"
    "class Whole(xgboost.XGBRegressor):\n"
    "    def predict(self, rows):\n"
    "        return numpy.array(1.0)\n"
)
# A table whose columns are chosen by name: numbers and texts with gaps, and a truth.
chance = np.random.default_rng(0)
table = pandas.DataFrame({
    "age": chance.integers(18, 80, 200).astype(float),
    "city": chance.choice(["Oslo", "Lyon", "Köln"], 200),
    "plan": chance.choice(["free", "pro"], 200),
    "active": chance.integers(0, 2, 200).astype(bool),
})  # fmt: skip
table.loc[::17, "age"] = None
table.loc[::23, "city"] = None
wanted = ((table.age > 40) ^ (table.plan == "pro")).astype(int)
texts = make_pipeline(
    SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
)
chooser = ColumnTransformer([
    ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
    ("texts", texts, ["city", "plan"]),
    ("truths", "passthrough", ["active"]),
])  # fmt: skip
by_name = make_pipeline(chooser, LogisticRegression()).fit(table, wanted)
joblib.dump(by_name, folder / "table.joblib")
by_type = make_pipeline(
    ColumnTransformer(
        [("texts", texts, make_column_selector("^(city|plan)$"))], remainder="passthrough"
    ),
    HistGradientBoostingClassifier(max_iter=5),
).fit(table, wanted)
joblib.dump(by_type, folder / "selected.joblib")
# Fitted on a table, but all its columns are taken as they come.
plain = LogisticRegression(max_iter=1000).fit(
    pandas.DataFrame(iris, columns=list("abcd")), species
)
joblib.dump(plain, folder / "plain.joblib")
rows = table.iloc[[0, 1, 2, 23]]
expected["table"] = {
    "rows": json.loads(rows.to_json(orient="records")),
    "by_name": by_name.predict(rows).tolist(),
    "by_type": by_type.predict(rows).tolist(),
    "proba": by_name.predict_proba(rows).tolist(),
}

several = MultiOutputClassifier(LogisticRegression(max_iter=1000))
several.fit(iris, np.stack([species, species > 0], axis=1).astype(int))
joblib.dump(several, folder / "outputs.joblib")
expected["outputs"] = [each.tolist() for each in several.predict_proba(iris[:3])]
expected["boosted proba"] = boosted.predict_proba(cells[:3]).tolist()
for name, objective in (("soft", "multi:softprob"), ("hard", "multi:softmax")):
    kinds = {"objective": objective, "num_class": 3}
    xgboost.train(kinds, xgboost.DMatrix(iris, species), 3).save_model(folder / f"{name}.ubj")

# As an older scikit-learn would have written it.
old = pickle.dumps(LogisticRegression().fit(iris, species), protocol=4)
(folder / "old.pkl").write_bytes(old.replace(b"\x8c\x051.9.1", b"\x8c\x051.0.1"))
# One that can't be read any more: the node array of its trees has another form.
trees = pickle.dumps(RandomForestRegressor(2).fit(iris, species), protocol=4)
foreign = trees.replace(b"\x8c\x051.9.1", b"\x8c\x051.3.2").replace(b"left_child", b"left_chilt")
(folder / "foreign.pkl").write_bytes(foreign)
(folder / "foreign.joblib").write_bytes(zlib.compress(foreign))
(folder / "expected.json").write_text(json.dumps(expected))
