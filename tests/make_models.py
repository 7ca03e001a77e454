"""Run in a model server's environment: makes models, and what they predict. Argument: a folder."""

import json
import pickle
import sys
from pathlib import Path

import joblib
import numpy as np
import xgboost
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

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
# As an older scikit-learn would have written it.
old = pickle.dumps(LogisticRegression().fit(iris, species), protocol=4)
(folder / "old.pkl").write_bytes(old.replace(b"\x8c\x051.9.1", b"\x8c\x051.0.1"))
(folder / "expected.json").write_text(json.dumps(expected))
